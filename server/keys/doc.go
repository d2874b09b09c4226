// Package keys has the keys of a server's users on disk: a file for each in the configuration folder, and
// beside them in the state folder what a restart of the service must find: the highest slot of which any
// kernel had tokens, and when each key was used last.
//
//	CONFIG/keys/PROFILE/USER.key      of format.KeyFile; a further key of the user: USER.ID.key
//	STATE/signed.json
//
// It does not touch the kernel.
package keys
