package client

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"knockkit/protocol"
)

// Windows gives raw sockets to administrators only, but sends echo requests for
// everybody through calls of its own (iphlpapi.dll), as its ping does. All of these have
// one identifier, which cannot be chosen: they are no new flow, as a wire's packets should
// be, unless there was none for the 30 s after which a server's conntrack forgets one.

// echo is a request that the system sends and waits for. What it writes to must
// stay in place until it has ended.
type echo struct {
	handle  windows.Handle // of the ICMP service
	done    windows.Handle // an event: an answer, or the time is over
	reply   []byte
	request []byte
	pin     runtime.Pinner
	v6      bool
}

// echoData returns the payload of an echo request, of the size of ping's own. Behind a token it is as
// that of Windows' ping, which sends the letters from a to w.
func echoData(token *protocol.Token) []byte {
	data := make([]byte, 32)
	if token != nil {
		copy(data, "abcdefghijklmnopqrstuvwabcdefghi")
		copy(data, token[:])
	}
	return data
}

// sendEcho asks the system to send an echo request.
func (n network) sendEcho(to netip.Addr, token *protocol.Token) (flight, error) {
	f := &echo{v6: to.Is6(), reply: make([]byte, 256), request: echoData(token)}
	create := "IcmpCreateFile"
	if f.v6 {
		create = "Icmp6CreateFile"
	}
	handle, _, err := call(create)
	if windows.Handle(handle) == windows.InvalidHandle {
		return nil, err
	}
	f.handle = windows.Handle(handle)
	if f.done, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		f.close()
		return nil, err
	}
	f.pin.Pin(&f.reply[0])
	f.pin.Pin(&f.request[0])
	if err := f.send(n.source, to); err != nil && !errors.Is(err, windows.ERROR_IO_PENDING) {
		f.close()
		switch { // by the numbers that sockets have for it
		case errors.Is(err, windows.ERROR_NETWORK_UNREACHABLE):
			err = windows.WSAENETUNREACH
		case errors.Is(err, windows.ERROR_HOST_UNREACHABLE):
			err = windows.WSAEHOSTUNREACH
		}
		return nil, err
	}
	return f, nil
}

// send returns ERROR_IO_PENDING when the request is on its way: there is an
// event to be set.
func (f *echo) send(source, to netip.Addr) error {
	timeout := uintptr(lifetime / time.Millisecond)
	request, size := uintptr(unsafe.Pointer(&f.request[0])), uintptr(len(f.request))
	reply, room := uintptr(unsafe.Pointer(&f.reply[0])), uintptr(len(f.reply))
	var n uintptr
	var err error
	if f.v6 {
		from := windows.RawSockaddrInet6{Family: windows.AF_INET6} // any
		if source.IsValid() {
			from.Addr, from.Scope_id = source.As16(), zoneNumber(source.Zone())
		}
		there := windows.RawSockaddrInet6{Family: windows.AF_INET6, Addr: to.As16(), Scope_id: zoneNumber(to.Zone())}
		n, _, err = call("Icmp6SendEcho2", uintptr(f.handle), uintptr(f.done), 0, 0,
			uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&there)), request, size, 0, reply, room, timeout)
		runtime.KeepAlive(&from)
		runtime.KeepAlive(&there)
	} else {
		from := netip.IPv4Unspecified() // any
		if source.IsValid() {
			from = source
		}
		n, _, err = call("IcmpSendEcho2Ex", uintptr(f.handle), uintptr(f.done), 0, 0,
			number(from), number(to), request, size, 0, reply, room, timeout)
	}
	if n != 0 {
		return nil
	}
	return err
}

// number returns an IPv4 address as the system wants it: in network order.
func number(addr netip.Addr) uintptr {
	a := addr.As4()
	return uintptr(*(*uint32)(unsafe.Pointer(&a[0])))
}

// wait looks for the answer. It waits in short turns so that it ends with ctx.
func (f *echo) wait(ctx context.Context, until time.Time) Reply {
	const turn = 10 * time.Millisecond
	for {
		event, err := windows.WaitForSingleObject(f.done, uint32(turn/time.Millisecond))
		switch {
		case err == nil && event == windows.WAIT_OBJECT_0:
			defer f.close()
			return f.answer()
		case ctx.Err() != nil || !time.Now().Before(until):
			// The system still writes to our memory until its own time is over.
			go func() {
				_, _ = windows.WaitForSingleObject(f.done, 2*uint32(lifetime/time.Millisecond))
				f.close()
			}()
			return NoReply
		}
	}
}

// answer reads the status of the first reply: IP_SUCCESS is an echo reply, the
// numbers around 11002 are what routers say.
func (f *echo) answer() Reply {
	const (
		statusAt4, statusAt6          = 4, 28 // offsets in ICMP_ECHO_REPLY and ICMPV6_ECHO_REPLY
		firstUnreachable, lastOfThose = 11002, 11005
	)
	parse, at := "IcmpParseReplies", statusAt4
	if f.v6 {
		parse, at = "Icmp6ParseReplies", statusAt6
	}
	if n, _, _ := call(parse, uintptr(unsafe.Pointer(&f.reply[0])), uintptr(len(f.reply))); n == 0 {
		return NoReply
	}
	switch status := *(*uint32)(unsafe.Pointer(&f.reply[at])); {
	case status == 0:
		return Answered
	case status >= firstUnreachable && status <= lastOfThose:
		return NotReachable
	}
	return NoReply
}

func (f *echo) close() {
	if f.done != 0 {
		windows.CloseHandle(f.done)
	}
	_, _, _ = call("IcmpCloseHandle", uintptr(f.handle))
	f.pin.Unpin()
}

// call calls a function of the IP helper library. What the arguments point to
// must not move meanwhile, which the compiler sees to.
//
//go:uintptrescapes
func call(name string, args ...uintptr) (r1, r2 uintptr, err error) {
	return windows.NewLazySystemDLL("iphlpapi.dll").NewProc(name).Call(args...)
}
