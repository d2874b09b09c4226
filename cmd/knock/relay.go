package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// stream is one end of a relay.
type stream interface {
	io.ReadWriter
	// CloseWrite says that nothing more will be written; reading goes on.
	CloseWrite() error
}

// relay carries bytes both ways until both have ended. The end of one way is
// passed on and the other goes on: "send the request, close, read the answer"
// works as it does without us. The error is that of the first way that broke.
func relay(near, far stream) error {
	var back error
	var both sync.WaitGroup
	both.Go(func() { back = carry(near, far) })
	there := carry(far, near)
	both.Wait()
	return errors.Join(there, back)
}

// carry copies one way and passes its end on.
func carry(to, from stream) error {
	_, err := io.Copy(to, from)
	if end := to.CloseWrite(); err == nil {
		err = end
	}
	if over(err) {
		return nil
	}
	return err
}

// over reports whether an error only says that an end has gone, which is how
// many programs end a connection.
func over(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

// standard is this program's own input and output as a stream.
type standard struct {
	in  *os.File
	out *os.File
}

func (s standard) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s standard) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s standard) CloseWrite() error           { return s.out.Close() }
