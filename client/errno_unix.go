//go:build !windows

package client

import "syscall"

// refusals are the errors by which a host says no.
func refusals() []syscall.Errno { return []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET} }

// dead are the errors that say that there is no way to a host.
func dead() []syscall.Errno {
	return []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}
}
