// Package format reads and writes profiles: a file in TOML, the line of JSON that the kernel
// keeps. What is wrong with a text it says with the place of it.
//
//	text → tomldoc.Document → rawProfile (nil is "not set") → protocol.Profile (valid)
//
// [ParseProfile] reads a file, [ParseCanonical] what [Canonical] has written. Names of
// ports are looked up in a list of its own, and then in /etc/services: nothing else is read
// from the host.
package format
