// Package rights says what a process may do: this one by its capabilities, and the
// one at the other end of a Unix socket by its user.
package rights
