package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
)

func proxyCommand() *cli.Command {
	return &cli.Command{
		Name:      "proxy",
		Usage:     "knock, connect, and carry standard input and output",
		UsageText: "knock proxy PROFILE[@HOST] [HOST PORT]",
		Description: `Connects to the port that the profile opens, as OpenSSH's ProxyCommand. In ~/.ssh/config:

   Host db1.example.com
       ProxyCommand knock proxy ssh %h %p`,
		Flags:  append(targetFlags(), timeoutFlag()),
		Action: proxyAction,
	}
}

func proxyAction(c *cli.Context) error {
	if n := c.Args().Len(); n == 0 {
		return command.Help(c)
	} else if n != 1 && n != 3 {
		return command.Usagef("knock proxy PROFILE HOST PORT", "proxy takes a profile, or a profile, a host and a port")
	}
	tn, err := newTunnel(c, c.Args().Get(1), c.Args().Get(2))
	if err != nil {
		return err
	}
	interrupt, stop := interruptible(c.Context)
	defer stop()
	ctx, cancel := limited(c, interrupt)
	conn, err := tn.dialer.DialContext(ctx, "tcp", tn.address())
	cancel()
	if err != nil {
		return explain(outcome{target: tn.dialer.Target, err: err})
	}
	defer conn.Close()
	far, ok := conn.(stream)
	if !ok {
		return fmt.Errorf("connect to %s: not a stream", tn.address())
	}
	ended := make(chan error, 1)
	go func() { ended <- relay(standard{os.Stdin, os.Stdout}, far) }()
	select {
	case err := <-ended:
		return err
	case <-interrupt.Done(): // reading from a terminal cannot be ended otherwise
		return interrupt.Err()
	}
}
