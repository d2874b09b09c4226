package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"knockkit/internal/rights"
)

// TableSize is how many addresses a recency table is to hold (ip_list_tot of xt_recent,
// whose own default is 100): knockd and the packages load the module with it.
//
// A table's memory is twofold: its hash, taken at once, and 512 bytes for each address
// that somebody has sent from, which a flood of first knocks fills for every profile.
// Measured with 100 profiles: 19 MB, and 99 MB more; with 4,000 it would be 78 and 394 MB,
// with 10,000 310 and 986 MB.
const TableSize = 1000

// moduleDir is there when xt_recent is loaded, or built into the kernel.
const moduleDir = "/sys/module/xt_recent"

// moduleAlias is the name by which the kernel itself asks for xt_recent. So an operator's options
// apply by whichever name they are written, and so does a blacklist.
const moduleAlias = "ipt_recent"

// sizeOption is how modprobe prints and takes ip_list_tot.
var sizeOption = regexp.MustCompile(`\bip_list_tot=(\S+)`)

// moduleLoaded reports whether the kernel has xt_recent at the moment.
func moduleLoaded() bool {
	_, err := os.Stat(moduleDir)
	return err == nil
}

// loadModule loads xt_recent with room for [TableSize] addresses a table, or for as many as
// modprobe's configuration says: the operator's file, or the package's, decides. A process that may
// not load modules leaves that to the kernel, which loads it by that configuration when a rule first
// needs it. The caller checks whether it is there.
func loadModule(ctx context.Context) {
	if moduleLoaded() || !rights.MayLoadModules() {
		return
	}
	args := []string{"-q", moduleAlias}
	if size, err := configuredSize(ctx); err == nil && size == "" {
		args = append(args, fmt.Sprintf("ip_list_tot=%d", TableSize))
	}
	_ = exec.CommandContext(ctx, "modprobe", args...).Run()
}

// configuredSize returns the ip_list_tot with which modprobe would load xt_recent, as written; "":
// none is configured. Where there are several, the kernel takes the last.
func configuredSize(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "modprobe", "--show-depends", moduleAlias).Output()
	if err != nil {
		return "", err
	}
	size := ""
	for _, found := range sizeOption.FindAllStringSubmatch(string(out), -1) {
		size = found[1]
	}
	return size, nil
}

// TableLimit returns how many addresses a recency table holds before the oldest
// is forgotten (the parameter ip_list_tot of xt_recent).
func TableLimit() (int, error) {
	text, err := os.ReadFile(moduleDir + "/parameters/ip_list_tot")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Module describes xt_recent in the kernel.
type Module struct {
	Limit   int  // addresses a table; 0: it is not loaded
	BuiltIn bool // part of the kernel's image
	Next    int  // the Limit that modprobe's configuration gives it when it is loaded again; 0: not said, or not known
}

// ReadModule asks the kernel, and modprobe where the tables are small.
func ReadModule(ctx context.Context) (Module, error) {
	limit, err := TableLimit()
	if errors.Is(err, fs.ErrNotExist) {
		return Module{}, nil
	}
	if err != nil {
		return Module{}, err
	}
	m := Module{Limit: limit, BuiltIn: true}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without modules has no such file
		return Module{}, err
	}
	for line := range strings.Lines(string(modules)) {
		m.BuiltIn = m.BuiltIn && !strings.HasPrefix(line, "xt_recent ")
	}
	if m.Small() && !m.BuiltIn {
		if size, err := configuredSize(ctx); err == nil {
			next, _ := strconv.ParseUint(size, 0, 31) // as the kernel reads it; what it refuses is not known
			m.Next = int(next)
		}
	}
	return m, nil
}

// Small reports whether the tables hold fewer addresses than knockd asks for.
func (m Module) Small() bool { return m.Limit > 0 && m.Limit < TableSize }

// Raise says how to get larger tables on this host.
func (m Module) Raise() string {
	do := fmt.Sprintf("write `options xt_recent ip_list_tot=%d` into /etc/modprobe.d/knockd.conf and reboot, as the module is loaded", TableSize)
	switch {
	case !m.Small():
		do = "set a larger ip_list_tot, which takes memory (docs/doctor.md)"
	case m.BuiltIn:
		do = fmt.Sprintf("put xt_recent.ip_list_tot=%d on the kernel's command line and reboot, as it is built into this kernel", TableSize)
	case m.Next >= TableSize:
		do = fmt.Sprintf("reboot, as it was loaded before modprobe was told ip_list_tot=%d", m.Next)
	}
	return do + `; or set backend = "nftables" in knockd.toml: its sets hold 65,535`
}
