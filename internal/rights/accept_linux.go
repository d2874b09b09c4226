package rights

import (
	"context"
	"errors"
	"net"
	"time"
)

// strangerPause is how long nobody is accepted after a stranger, or after a failure: any
// local user can connect to an abstract socket, as often as a processor allows.
const strangerPause = 5 * time.Millisecond

// Accept hands on the friends ([Peer.Friend]) among those who connect, until the listener is
// closed or the context ends and the listener's deadline is over. Strangers are hung up
// on. That no file can be opened, or the like, is waited out.
func Accept(ctx context.Context, l *net.UnixListener, friend func(*net.UnixConn)) {
	for ctx.Err() == nil {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			if p, err := PeerOf(c); err == nil && p.Friend() {
				friend(c)
				continue
			}
			c.Close()
		}
		select {
		case <-time.After(strangerPause):
		case <-ctx.Done():
		}
	}
}
