//go:build linux

package badnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"

	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// Measure knocks so many times over the network of a case. Before each knock
// the lease of the one before is revoked; what it left of positions stays, as
// it does for people who try again. It needs root.
func Measure(ctx context.Context, c Case, rounds int) (row Row, err error) {
	row.Case = c
	s, err := newSite(ctx, c)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	self, err := os.Executable()
	if err != nil {
		return row, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childMark+"="+s.gate.Addr4.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return row, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return row, err
	}
	if err := s.near.Start(cmd); err != nil {
		return row, err
	}
	row.Rounds, err = s.rounds(ctx, rounds, in, bufio.NewReader(out))
	in.Close() // which ends the child
	return row, errors.Join(err, cmd.Wait())
}

// site is a gate and a client on either side of a link.
type site struct {
	gate, near *lab.Host
	srv        *server.Server
	closers    []io.Closer
}

func newSite(ctx context.Context, c Case) (s *site, err error) {
	s = new(site)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, h := range []struct {
		name string
		at   **lab.Host
	}{{"gate", &s.gate}, {"near", &s.near}} {
		if *h.at, err = lab.New(h.name); err != nil {
			return s, err
		}
		s.closers = append(s.closers, *h.at)
	}
	link, err := lab.Connect(s.gate, s.near, c.Conditions)
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, link)
	listener, err := s.gate.Listen("tcp", ":3306")
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, listener)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return s, s.install(ctx, c.Quiet)
}

func (s *site) install(ctx context.Context, quiet bool) error {
	b, _, err := server.OpenBackend(ctx, "auto")
	if err != nil {
		return err
	}
	p, err := Profile()
	if err != nil {
		return err
	}
	s.srv = server.New(b, server.DefaultSettings())
	if quiet {
		for _, rule := range [][]string{
			{"-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"},
			{"-P", "INPUT", "DROP"},
		} {
			out, err := s.gate.Run(ctx, "", "iptables", rule...)
			if err != nil || out.Code != 0 {
				return fmt.Errorf("iptables %q: %s: %w", rule, out.Stderr, err)
			}
		}
	}
	return s.gate.Do(func() error {
		_, err := s.srv.Install(ctx, []*protocol.Profile{p}, server.InstallOptions{})
		return err
	})
}

func (s *site) rounds(ctx context.Context, n int, in io.Writer, out *bufio.Reader) ([]Round, error) {
	p, err := Profile()
	if err != nil {
		return nil, err
	}
	var all []Round
	for range n {
		err := s.gate.Do(func() error {
			_, err := s.srv.Revoke(ctx, p.Name, netip.PrefixFrom(s.near.Addr4, 32), false)
			return err
		})
		if err != nil {
			return all, err
		}
		if _, err := io.WriteString(in, "knock\n"); err != nil {
			return all, err
		}
		line, err := out.ReadBytes('\n')
		if err != nil {
			return all, fmt.Errorf("the client ended: %w", err)
		}
		var r Round
		if err := json.Unmarshal(line, &r); err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// close lets go of everything, the last first.
func (s *site) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i].Close())
	}
	return errors.Join(errs...)
}
