// Package client knocks: it sends a profile's sequence to a host and checks
// that the port opened.
//
//	Target → addresses, one of each family → attempts → Result
//
// The timing is pure (plan.go); packets leave through one small interface
// (wire.go) with a file for each kind of knock and, where systems differ, each
// system. A signed profile has no sequence: its knock carries a token of the
// target's key (token.go), with an index that nobody has used (indexes.go).
//
// The package prints nothing, and reads no file but a profile ([ReadProfile]), its
// key ([ReadKey]) and those of [IndexFiles]: messages are the command's.
package client
