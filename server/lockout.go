package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// Session is the SSH session that runs the program.
type Session struct {
	Client netip.Addr
	Port   uint16 // of the server
}

// LockoutError says that a change would close the port of the SSH session that makes it.
type LockoutError struct {
	Profile string
	Session Session
}

func (e *LockoutError) Error() string {
	return fmt.Sprintf("profile %s closes %d/tcp, by which you are connected from %s", e.Profile, e.Session.Port, e.Session.Client)
}

// RefuseLockout returns a guard for [InstallOptions]: it refuses a new gate over
// the session's port.
func RefuseLockout(session Session) func([]*protocol.Profile) error {
	return func(newly []*protocol.Profile) error {
		for _, p := range newly {
			if p.In(protocol.FamilyOf(session.Client)) && p.Opens(protocol.Knock{Proto: protocol.TCP, Port: session.Port}) {
				return &LockoutError{p.Name, session}
			}
		}
		return nil
	}
}

// FindSession returns the SSH session that the process runs in, if any. sudo
// clears the environment, so that of the processes above is looked at too.
func FindSession() (Session, bool) {
	if s, ok := ParseSession(os.Getenv("SSH_CONNECTION")); ok {
		return s, true
	}
	pid, err := os.Getppid(), error(nil)
	for deep := 0; deep < 32 && err == nil && pid > 1; deep++ { // deeper than any shell in a shell
		if s, ok := sessionOf(pid); ok {
			return s, true
		}
		pid, err = parentOf(pid)
	}
	return Session{}, false
}

func sessionOf(pid int) (Session, bool) {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return Session{}, false
	}
	for _, kv := range bytes.Split(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(kv, []byte("SSH_CONNECTION=")); ok {
			return ParseSession(string(value))
		}
	}
	return Session{}, false
}

func parentOf(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("no parent")
}

// ParseSession reads sshd's variable SSH_CONNECTION: "CLIENT CPORT SERVER PORT".
func ParseSession(text string) (Session, bool) {
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return Session{}, false
	}
	client, err := netip.ParseAddr(fields[0])
	if err != nil {
		return Session{}, false
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	return Session{client.Unmap(), uint16(port)}, err == nil
}
