// Package config finds the configuration folder of either program and reads
// profiles from it: profiles/NAME.toml.
//
// It knows folders and file names. What is inside a profile is the business of
// package protocol, and the server's own settings are read by the server from
// [Folders.file].
package config
