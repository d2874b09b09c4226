package badnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"knockkit/client"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// childMark holds the host to knock on; the program that has it in its
// environment is the client of a measurement.
const childMark = "KNOCK_BADNET_HOST"

// Child reports whether this process was started as the client of a
// measurement. It has then done its work, with the given exit code.
func Child(ctx context.Context) (code int, isChild bool) {
	host := os.Getenv(childMark)
	if host == "" {
		return 0, false
	}
	if err := serve(ctx, host); err != nil {
		fmt.Fprintln(os.Stderr, "badnet:", err)
		return 1, true
	}
	return 0, true
}

// serve knocks once for each line on standard input and writes a [Round].
func serve(ctx context.Context, host string) error {
	p, err := Profile()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		result, err := client.Knock(ctx, client.Target{Profile: p, Host: host})
		if notOpen := new(*client.NotOpenError); err != nil && !errors.As(err, notOpen) {
			return err
		}
		a := result.Addrs[0]
		if err := out.Encode(Round{a.Outcome == client.Open, a.Attempts, a.Took}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Profile is what is knocked on: the article's sequence, with the default timing.
func Profile() (*protocol.Profile, error) {
	p, problems := format.ParseProfile("mysql.toml", []byte("sequence = [\"icmp\", \"echo/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	if problems.HasErrors() {
		return nil, problems
	}
	return p, nil
}
