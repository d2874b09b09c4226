package client

import (
	"fmt"
	"strings"

	"knockkit/protocol"
)

// NotOpenError says that a host was knocked on but did not open. Its Result
// has what was seen; [Reasons] puts that into words.
type NotOpenError struct{ Result Result }

func (e *NotOpenError) Error() string {
	return fmt.Sprintf("%s did not open: %s", e.Result.Host, e.Result.summary())
}

// PrivilegeError says that this machine lets the caller send no ICMP echo
// request.
type PrivilegeError struct {
	Commands []string // any one of which, run as root, allows it
	Err      error
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("cannot send an icmp knock: %v", e.Err)
}

func (e *PrivilegeError) Unwrap() error { return e.Err }

// ProfileError says that the profile cannot be knocked on this way or on this
// host, whatever the network does.
type ProfileError struct {
	Profile string
	Text    string
}

func (e *ProfileError) Error() string { return fmt.Sprintf("profile %s %s", e.Profile, e.Text) }

// summary says in one line what each address did.
func (r Result) summary() string {
	var parts []string
	for _, a := range r.Addrs {
		text := fmt.Sprintf("%s %s", a.Addr, a.State)
		if a.Err != nil {
			text = a.Err.Error()
		} else if last := a.lastCheck(); last != nil {
			text = fmt.Sprintf("%s of %s: %s", last.Knock, a.Addr, last.Reply)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (a AddrResult) lastCheck() *Packet {
	for i := len(a.Packets) - 1; i >= 0; i-- {
		if a.Packets[i].Check {
			return &a.Packets[i]
		}
	}
	return nil
}

func familyName(f protocol.Family) string {
	if f == protocol.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}
