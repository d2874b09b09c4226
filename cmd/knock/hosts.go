package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"knockkit/internal/command"
	"knockkit/internal/files"
)

// maxHostsSize is some 100,000 hosts.
const maxHostsSize = 4 << 20

// readHosts reads a file with a host on each line, "-" for in. What follows "#"
// and empty lines are left out. A file without any host is a mistake: to knock
// on the profile's host instead would not be what was meant.
func readHosts(ctx context.Context, file string) ([]string, error) {
	text, err := files.Input(ctx, file, maxHostsSize)
	if err != nil {
		return nil, &command.Error{Code: command.Usage, Err: fmt.Errorf("read hosts: %w", err)}
	}
	var hosts []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if _, err := bareHost(text); err != nil {
			wrong := new(command.Error)
			errors.As(err, &wrong)
			return nil, command.Usagef(wrong.Hint, "%s:%d: %w", file, n, err)
		}
		hosts = append(hosts, text)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read hosts from %s: %w", file, err)
	}
	if len(hosts) == 0 {
		return nil, command.Usagef("a host on each line", "%s has no host", file)
	}
	return hosts, nil
}
