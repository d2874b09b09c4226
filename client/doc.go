// Package client knocks: it sends a profile's sequence to a host and checks
// that the port opened.
//
//	Target → addresses, one of each family → attempts → Result
//
// The timing is pure (plan.go); packets leave through one small interface
// (wire.go) with a file for each kind of knock and, where systems differ, each
// system. The package prints nothing, and reads no file but a profile
// ([ReadProfile]): messages are the command's.
package client
