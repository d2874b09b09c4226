package main

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
)

func outgoingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "source", Usage: "send everything from `ADDR` of this machine, over its family only; routes still choose the uplink"},
		&cli.StringFlag{Name: "interface", Usage: "send everything over network interface `NAME`, whatever the routes say (Linux, macOS)"},
	}
}

// outgoing reads which family, address and interface everything leaves by, and sees that this
// machine has them.
func outgoing(c *cli.Context) (t client.Target, err error) {
	if t.Family, err = family(c); err != nil {
		return t, err
	}
	t.Interface = c.String("interface")
	if text := c.String("source"); text != "" {
		if t.Source, err = netip.ParseAddr(text); err != nil {
			return t, command.Usagef("an address of this machine: "+say.Names(sourceWords()), "bad source %q", text)
		}
		t.Source = t.Source.Unmap()
		if f := protocol.FamilyOf(t.Source); t.Family != protocol.Both && t.Family != f {
			return t, command.Usagef("", "--source %s is an %s address: over %s nothing can leave from there", t.Source, f.Label(), t.Family.Label())
		}
	}
	err = t.CheckLocal()
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, fs.ErrPermission):
		return t, &command.Error{Code: command.Privilege, Err: err}
	case t.Interface != "" && !known(t.Interface):
		return t, command.Usagef("there are: "+say.Names(interfaceWords()), "%w", err)
	case t.Source.IsValid():
		return t, command.Usagef("it has: "+say.Names(sourceWords()), "%w", err)
	}
	return t, command.Usagef("", "%w", err)
}

func known(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// sourceWords lists the addresses of this machine.
func sourceWords() []string {
	addrs, _ := client.LocalAddrs() // a hint is left out
	return say.Texts(addrs)
}

// interfaceWords lists the interfaces of this machine.
func interfaceWords() []string {
	all, _ := net.Interfaces()
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = one.Name
	}
	return words
}
