//go:build linux

package stage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Knockd is where Debian has it. Ours, of the same name, may be first on PATH.
const Knockd = "/usr/sbin/knockd"

// StartKnockd starts Debian's knockd on a host: a profile's sequence, with
// a rule of iptables as its command, on a host that drops by default.
func StartKnockd(ctx context.Context, h *lab.Host, p *protocol.Profile) (*Daemon, error) {
	if err := dropByDefault(ctx, h); err != nil {
		return nil, err
	}
	var sequence []string
	for _, step := range p.Sequence {
		sequence = append(sequence, portText(step.Knock.Port))
	}
	conf := fmt.Sprintf(`[options]
	logfile = DIR/log
[bench]
	sequence = %s
	seq_timeout = %d
	tcpflags = syn
	command = %s -I INPUT -s %%IP%% -p tcp --dport %d -j ACCEPT
`, strings.Join(sequence, ","), int(p.Sequence[1].Within.Seconds()), iptablesPath(), p.Open[0].First)
	return startDaemon(ctx, h, map[string]string{"knockd.conf": conf}, Knockd, "-i", "eth0", "-c", "DIR/knockd.conf", "-p", "DIR/pid")
}

// Fwknopd is fwknopd on a host, and the keys by which its client is known.
type Fwknopd struct {
	*Daemon
	cipher, hmac string // base64
	port         uint16 // that is opened
}

// FwknopPort is the UDP port that fwknopd listens to by default.
const FwknopPort = 62201

// StartFwknopd starts fwknopd on a host that drops by default, with its own
// defaults. It opens the port of a profile.
func StartFwknopd(ctx context.Context, h *lab.Host, p *protocol.Profile) (*Fwknopd, error) {
	if err := dropByDefault(ctx, h); err != nil {
		return nil, err
	}
	f := &Fwknopd{cipher: secret(32), hmac: secret(64), port: p.Open[0].First}
	conf := `PCAP_INTF eth0;
FWKNOP_RUN_DIR DIR;
FWKNOP_PID_FILE DIR/pid;
DIGEST_FILE DIR/digest;
`
	access := fmt.Sprintf(`SOURCE ANY
REQUIRE_SOURCE_ADDRESS Y
OPEN_PORTS tcp/%d
KEY_BASE64 %s
HMAC_KEY_BASE64 %s
FW_ACCESS_TIMEOUT 600
`, f.port, f.cipher, f.hmac)
	var err error
	f.Daemon, err = startDaemon(ctx, h, map[string]string{"fwknopd.conf": conf, "access.conf": access},
		"fwknopd", "--foreground", "--config-file", "DIR/fwknopd.conf", "--access-file", "DIR/access.conf")
	return f, err
}

// Packet returns the one packet by which fwknop knocks, as a [Visit] sends it. The
// time that fwknop takes to make it is not part of the visit.
func (f *Fwknopd) Packet(from, to netip.Addr) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	file := filepath.Join(f.Dir, "packet-"+from.String()) // several are made at once
	out, err := exec.CommandContext(ctx, "fwknop", "--test", "--save-packet", file,
		"--access", fmt.Sprintf("tcp/%d", f.port), "--allow-ip", from.String(), "--destination", to.String(),
		"--key-base64-rijndael", f.cipher, "--key-base64-hmac", f.hmac, "--use-hmac",
		"--no-rc-file", "--no-home-dir", "--no-save-args", "--save-args-file", file+"-args").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("fwknop: %w: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	payload := []byte(strings.TrimSpace(string(text)))
	return [][]byte{lab.UDP(netip.AddrPortFrom(from, 50_000), netip.AddrPortFrom(to, FwknopPort), payload)}, nil
}

// iptablesPath is what a daemon calls: its own PATH may be short.
func iptablesPath() string {
	path, err := lab.FindTool("iptables")
	if err != nil {
		return "iptables" // the daemon will say that it is missing
	}
	return path
}

func secret(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// Daemon is a program of others that runs on a host, with a folder of its own for
// what it reads and writes.
type Daemon struct {
	Dir string

	cmd  *exec.Cmd
	done chan error
	log  *os.File
}

// capturing is how long a daemon may take until it captures packets.
const capturing = 5 * time.Second

// startDaemon starts a program with files in a new folder; the word DIR in its
// arguments and files stands for that. It returns when the program captures
// packets.
func startDaemon(ctx context.Context, h *lab.Host, files map[string]string, name string, args ...string) (_ *Daemon, err error) {
	d := &Daemon{done: make(chan error, 1)}
	if d.Dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(d.Dir, file), []byte(strings.ReplaceAll(text, "DIR", d.Dir)), 0o600); err != nil {
			return nil, err
		}
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", d.Dir)
	}
	if d.log, err = os.Create(filepath.Join(d.Dir, "output")); err != nil {
		return nil, err
	}
	d.cmd = exec.Command(name, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := h.Start(d.cmd); err != nil {
		d.cmd = nil
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	return d, d.ready(ctx)
}

// ready waits until the daemon's namespace has a packet socket.
func (d *Daemon) ready(ctx context.Context) error {
	sockets := fmt.Sprintf("/proc/%d/net/packet", d.cmd.Process.Pid)
	for deadline := time.Now().Add(capturing); time.Now().Before(deadline); {
		select {
		case err := <-d.done:
			d.done <- err
			output, _ := os.ReadFile(d.log.Name())
			return fmt.Errorf("%s ended at once: %w: %s", d.cmd.Path, err, strings.TrimSpace(string(output)))
		default:
		}
		if text, err := os.ReadFile(sockets); err == nil && strings.Count(string(text), "\n") > 1 {
			return nil
		}
		if err := Wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not capture packets after %v", d.cmd.Path, capturing)
}

// Stop ends the daemon, and removes its folder.
func (d *Daemon) Stop() error {
	var err error
	if d.cmd != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-d.done:
		case <-time.After(2 * time.Second):
			err = d.cmd.Process.Kill()
			<-d.done
		}
	}
	if d.log != nil {
		err = errors.Join(err, d.log.Close())
	}
	return errors.Join(err, os.RemoveAll(d.Dir))
}

// CPU is the processor time that the daemon itself has had, all its threads.
func (d *Daemon) CPU() (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	total := time.Duration(0)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text) + " ?")[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", task, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
