package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// demoProfile is the sequence of the article, as examples/mysql.toml has it.
const demoProfile = `sequence = ["icmp", "echo/tcp", "8000/tcp"]
within = "10s"
open = ["3306/tcp"]
lease = "1h"
`

// greeting is the first line of the demo's MySQL.
const greeting = "hello from MySQL"

// How long a connection is waited for. One that opens needs far less than patience;
// one that is dropped is given up before the kernel would send its SYN once more.
const (
	patience = 5 * time.Second
	silence  = 700 * time.Millisecond
)

// stage is the demo's three machines.
type stage struct {
	server, laptop, stranger *lab.Host
	knockd                   *server.Server
	mysql                    net.Listener
	bridge                   *lab.Host
	peek                     peek
	rules                    string // the server's, before anything was installed
}

func newStage(ctx context.Context, backendName string) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, h := range []struct {
		host **lab.Host
		name string
	}{{&s.server, "server"}, {&s.laptop, "laptop"}, {&s.stranger, "stranger"}} {
		if *h.host, err = lab.New(h.name); err != nil {
			return nil, err
		}
	}
	if s.bridge, err = lab.Network(s.server, s.laptop, s.stranger); err != nil {
		return nil, err
	}
	if s.mysql, err = s.server.Listen("tcp", "[::]:3306"); err != nil {
		return nil, err
	}
	go greet(s.mysql)
	backend, _, err := server.OpenBackend(ctx, backendName)
	if err != nil {
		return nil, err
	}
	s.knockd, s.peek = server.New(backend, server.DefaultSettings()), peeks()[backend.Name()]
	return s, nil
}

// close takes the machines away. Namespaces that nothing uses are gone at once.
func (s *stage) close() {
	if s.mysql != nil {
		s.mysql.Close()
	}
	for _, h := range []*lab.Host{s.bridge, s.stranger, s.laptop, s.server} {
		if h != nil {
			h.Close()
		}
	}
}

func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed: the demo is over
		}
		_, _ = fmt.Fprintln(c, greeting) // the client may be gone
		c.Close()
	}
}

// install does what `knockd install mysql` does on the server.
func (s *stage) install(ctx context.Context, text string) error {
	p, diagnostics := format.ParseProfile("mysql.toml", []byte(text))
	if diagnostics.HasErrors() {
		return diagnostics
	}
	return s.server.Do(func() error {
		_, err := s.knockd.Install(ctx, []*protocol.Profile{p}, server.InstallOptions{})
		return err
	})
}

// remove does what `knockd remove --all` does on the server.
func (s *stage) remove(ctx context.Context) error {
	return s.server.Do(func() error {
		_, err := s.knockd.Remove(ctx, nil)
		return err
	})
}

// onServer runs a line of shell on the server and returns what it prints.
func (s *stage) onServer(ctx context.Context, line string) (string, error) {
	out, err := s.server.Run(ctx, "", "sh", "-c", line)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("%s: exit status %d: %s", line, out.Code, strings.TrimSpace(out.Stderr))
	}
	return out.Stdout, err
}

// address returns the server's address of a family.
func (s *stage) address(f protocol.Family) netip.Addr {
	if f == protocol.IPv4 {
		return s.server.Addr4
	}
	return s.server.Addr6
}

// reads reports whether a host gets MySQL's greeting.
func (s *stage) reads(ctx context.Context, from *lab.Host, f protocol.Family) bool {
	c, err := s.dial(ctx, from, f, patience)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && line == greeting+"\n"
}

// silent reports whether a host's connection gets no answer at all.
func (s *stage) silent(ctx context.Context, from *lab.Host, f protocol.Family) bool {
	c, err := s.dial(ctx, from, f, silence)
	if err == nil {
		c.Close()
		return false
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (s *stage) dial(ctx context.Context, from *lab.Host, f protocol.Family, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return from.Dial(ctx, "tcp", netip.AddrPortFrom(s.address(f), 3306).String())
}
