//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/bench/stage"
)

// machine is the computer that the numbers were measured on.
type machine struct {
	Date               string
	CPU                string
	Cores              int
	Memory             string
	Kernel             string
	Go                 string
	IPTables, NFTables string
	Knockd, Fwknopd    string // "": not installed
	RecentLimit        string // ip_list_tot: addresses a recency table holds
}

func readMachine(ctx context.Context) (machine, error) {
	cpu, errCPU := line("/proc/cpuinfo", "model name")
	memory, errMemory := line("/proc/meminfo", "MemTotal")
	kb, errKB := strconv.Atoi(strings.TrimSuffix(memory, " kB"))
	var name unix.Utsname
	if err := errors.Join(errCPU, errMemory, errKB, unix.Uname(&name)); err != nil {
		return machine{}, err
	}
	limit, err := os.ReadFile("/sys/module/xt_recent/parameters/ip_list_tot")
	if err != nil {
		limit = []byte("unknown") // the module is loaded by the first rule that needs it
	}
	return machine{
		Date:        time.Now().UTC().Format(time.DateOnly),
		CPU:         cpu,
		Cores:       runtime.NumCPU(),
		Memory:      fmt.Sprintf("%d GB", (kb+(1<<19))>>20),
		Kernel:      unix.ByteSliceToString(name.Release[:]),
		Go:          strings.TrimPrefix(runtime.Version(), "go"),
		IPTables:    version(ctx, "iptables", "--version"),
		NFTables:    version(ctx, "nft", "--version"),
		Knockd:      version(ctx, stage.Knockd, "--version"),
		Fwknopd:     version(ctx, "fwknopd", "--version"),
		RecentLimit: strings.TrimSpace(string(limit)),
	}, nil
}

// line returns what a file of /proc says after a name and a colon.
func line(file, name string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for l := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s: no line %q", file, name)
}

// version returns a program's version with what belongs to it, as "1.8.9 (nf_tables)".
func version(ctx context.Context, program, flag string) string {
	// Some of them print it and then fail.
	out, _ := exec.CommandContext(ctx, program, flag).CombinedOutput()
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(regexp.MustCompile(`\d+(\.\d+)+( \((nf_tables|legacy)\))?`).FindString(first))
}
