package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/rights"
	"knockkit/internal/say"
)

// Owner is the process that has a group, as far as this process can see it.
type Owner struct {
	PID     int           // 0: not known
	Command string        // "install --try", the name of another program, or "": not known
	Left    time.Duration // until its work is done at the latest; 0: not known
}

// Trial reports whether it tries rules, or is the guard of who does.
func (h Owner) Trial() bool { return h.Command == tries }

// Process names it: "process 812", or "a process" where that is not known.
func (h Owner) Process() string {
	if h.PID == 0 {
		return "a process"
	}
	return fmt.Sprintf("process %d", h.PID)
}

// String is what is known: "process 812, install --try, 4m left".
func (h Owner) String() string {
	text := h.Process()
	if h.Command != "" {
		text += ", " + h.Command
	}
	if h.Left > 0 {
		text += ", " + say.Duration(h.Left.Round(time.Second)) + " left"
	}
	return text
}

// Same reports whether two of them are the same process, at the same work, and the end of the work
// is known of both or of none. The time that is left passes by itself.
func (h Owner) Same(o Owner) bool {
	return h.PID == o.PID && h.Command == o.Command && (h.Left > 0) == (o.Left > 0)
}

// OwnerOf says who has a group. found is false where nobody has it. The error is one of reading the
// kernel's list: fs.ErrPermission without root.
func OwnerOf(g Group) (h Owner, found bool, err error) {
	l, err := listed(g)
	if err != nil || l.port == 0 {
		return Owner{}, false, err
	}
	h = Owner{PID: processOf(l.port)}
	if h.PID != 0 {
		h.Command = commandOf(h.PID)
	}
	if l.endsAt > 0 {
		h.Left = max(0, time.Duration(l.endsAt)*time.Second-uptime())
	}
	return h, true, nil
}

// InUse reports whether a process has a group, as far as the kernel's list can be read.
func InUse(g Group) bool {
	l, err := listed(g)
	return err == nil && l.port != 0
}

// Opener returns the process that took the group, if it still runs: when it has ended, tools that it
// started may have the group. 0: it has ended, or is not known.
func Opener(g Group) int {
	l, err := listed(g)
	if err != nil || l.port == 0 || !rights.Running(int(l.port)) {
		return 0
	}
	return int(l.port)
}

// entry is a line of the kernel's list of groups.
type entry struct {
	port   uint32 // the netlink port of the socket that has it; 0: nobody has it
	endsAt uint32 // see [Claim.EndsAt]; 0: not said
}

// listed reads the line of a group: number, port, queue, mode, range, timeout, uses.
func listed(g Group) (entry, error) {
	text, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_log")
	if err != nil {
		return entry{}, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != fmt.Sprint(g) {
			continue
		}
		port, err1 := strconv.ParseUint(f[1], 10, 32)
		ends, err2 := strconv.ParseUint(f[5], 10, 32)
		return entry{uint32(port), uint32(ends)}, errors.Join(err1, err2)
	}
	return entry{}, nil
}

// processOf finds the process that has the netlink socket of a port: the one that opened it, else
// one that inherited it; 0 where none can be seen. The port is the process's number, unless another
// socket had that port before.
func processOf(port uint32) int {
	inode := inodeOf(port)
	if inode == "" {
		return 0
	}
	if rights.Running(int(port)) {
		if has, err := hasSocket(int(port), inode); has || errors.Is(err, fs.ErrPermission) {
			return int(port)
		}
	}
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	var all []int
	for _, folder := range folders {
		if pid, err := strconv.Atoi(filepath.Base(folder)); err == nil {
			all = append(all, pid)
		}
	}
	slices.Sort(all)
	for _, pid := range all {
		if has, _ := hasSocket(pid, inode); has { // as far as we know, a process whose files we cannot see is not it
			return pid
		}
	}
	return 0
}

// inodeOf finds a socket in the list: address, protocol, port, …, inode at the end.
func inodeOf(port uint32) string {
	text, err := os.ReadFile("/proc/thread-self/net/netlink")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == fmt.Sprint(unix.NETLINK_NETFILTER) && f[2] == fmt.Sprint(port) {
			return f[len(f)-1]
		}
	}
	return ""
}

func hasSocket(pid int, inode string) (bool, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(folder, f.Name())); err == nil && to == "socket:["+inode+"]" {
			return true, nil
		}
	}
	return false, err
}

// GuardCommand is the hidden command by which the program runs itself as the guard of a trial. The
// guard has the lock when the command that started it is gone.
const GuardCommand = "try-guard"

// tries is the command of a trial and of its guard.
const tries = "install --try"

// commandOf says what a process does: the command where it is knockd, else the name of
// the program.
func commandOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return ""
	}
	return say.Plain(command(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")))
}

// CommandLine returns the command line of a process, in one line of plain text: "" where it cannot be
// read.
func CommandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(text) == 0 {
		return ""
	}
	words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
	words[0] = filepath.Base(words[0])
	if slices.Contains(words, GuardCommand) {
		words = []string{words[0], "install", "--try"} // the guard's own name is nobody's
	}
	return say.Plain(strings.Join(words, " "))
}

func command(words []string) string {
	program := filepath.Base(words[0])
	if program != "knockd" {
		return program
	}
	args := words[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") { // the one flag of knockd itself is --config DIR
		flag, _, joined := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		args = args[1:]
		if flag == "config" && !joined && len(args) > 0 {
			args = args[1:]
		}
	}
	switch {
	case len(args) == 0:
		return program
	case args[0] == GuardCommand, slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "--try") || strings.HasPrefix(a, "-try")
	}):
		return tries
	}
	return args[0]
}
