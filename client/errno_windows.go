package client

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// The numbers that package syscall has for these on Windows are made up; what
// sockets return are Winsock's own.

// refusals are the errors by which a host says no.
func refusals() []syscall.Errno {
	return []syscall.Errno{windows.WSAECONNREFUSED, windows.WSAECONNRESET}
}

// dead are the errors that say that there is no way to a host.
func dead() []syscall.Errno {
	return []syscall.Errno{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAENETDOWN,
		windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT}
}
