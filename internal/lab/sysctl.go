//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// setting is a kernel setting of a network namespace. The first value that the
// kernel takes counts. An optional one may be missing on other kernels.
type setting struct {
	name     string // below /proc/sys/net
	values   []string
	optional bool
}

func settings() []setting {
	return []setting{
		// Nobody else on the lab's wires could have a host's address: it need not ask.
		{name: "ipv6/conf/all/accept_dad", values: []string{"0"}},
		{name: "ipv6/conf/default/accept_dad", values: []string{"0"}},
		// Nobody looks for routers, so a tap shows only what a test causes.
		{name: "ipv6/conf/default/accept_ra", values: []string{"0"}},
		{name: "ipv6/conf/default/router_solicitations", values: []string{"0"}},
		// Packets with forged sources must arrive.
		{name: "ipv4/conf/all/rp_filter", values: []string{"0"}},
		{name: "ipv4/conf/default/rp_filter", values: []string{"0"}},
		// Thousands of errors and echo replies a second are what tests look at.
		{name: "ipv4/icmp_ratelimit", values: []string{"0"}},
		{name: "ipv6/icmp/ratelimit", values: []string{"0"}},
		{name: "ipv4/icmp_msgs_per_sec", values: []string{"1000000"}, optional: true},
		{name: "ipv4/icmp_msgs_burst", values: []string{"1000000"}, optional: true},
		// Ping sockets for everybody; in a user namespace only its own groups can be named.
		{name: "ipv4/ping_group_range", values: []string{"0 2147483647", "0 0"}},
	}
}

// applySysctls writes the settings of the namespace that the calling thread is in:
// /proc/sys/net follows the thread that opens it.
func applySysctls() error {
	for _, s := range settings() {
		if err := s.apply(); err != nil && !s.optional {
			return err
		}
	}
	return nil
}

func (s setting) apply() error {
	var errs []error
	for _, v := range s.values {
		err := writeSysctl(s.name, v)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// writeSysctl writes one setting of the calling thread's network namespace.
func writeSysctl(name, value string) error {
	f, err := os.OpenFile("/proc/sys/net/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("set net.%s to %q: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}

// Sysctl sets a setting of the host: name as "ipv4/tcp_syncookies", below
// /proc/sys/net.
func (h *Host) Sysctl(name, value string) error {
	return h.Do(func() error { return writeSysctl(name, value) })
}
