package docs

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// laptops types a command on the laptop.
func (r *reader) laptops(command string) string {
	r.t.Helper()
	return r.run(r.laptop, Block{Text: command + "\n"})
}

func newRecipe(t *testing.T) *cook { return &cook{reader: installed(t)} }

// start runs a block on a host until the test ends.
func (c *cook) start(h *lab.Host, text string) {
	c.t.Helper()
	cmd := c.command(Block{Text: text})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	labtest.Start(c.t, h, cmd)
	c.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) })
}

func TestAContainerWithoutPingSocketsGetsWhatThePageSays(t *testing.T) {
	c := newRecipe(t)
	labtest.Need(t, "setpriv", "sysctl")
	c.profile("mysql", "sequence = [\"icmp\", \"9215/tcp\"]\nopen = [\"3306/tcp\"]\n")
	c.profile("ports", "sequence = [\"28411/tcp\", \"9215/tcp\"]\nopen = [\"3306/tcp\"]\n")
	c.on("sudo knockd install mysql ports")
	c.laptops(`sysctl -w net.ipv4.ping_group_range="1 0"`) // the kernel's default
	const contained = "setpriv --bounding-set -net_raw --inh-caps -net_raw -- knock -q "
	cmd := c.command(Block{Text: contained + "mysql\n"})
	out := labtest.Run(t, c.laptop, "", cmd.Args[0], cmd.Args[1:]...)
	if out.Code != 4 || !strings.HasPrefix(out.Stderr, recipe(t, "text", "refused")) {
		t.Errorf("exit %d, and it says\n%s", out.Code, out.Stderr)
	}
	c.laptops(contained + "ports")
	c.on("sudo knockd revoke ports --all")
	allow := `net.ipv4.ping_group_range="0 2147483647"`
	if page := read(t, filepath.Join(root, recipesPage)); !strings.Contains(strings.Join(strings.Fields(page), " "), "docker run --sysctl "+allow) {
		t.Fatal("the page does not say how to allow it")
	}
	c.laptops("sysctl -w " + allow)
	c.laptops(contained + "mysql")
}

func TestAForwardedPortIsTheDatabase(t *testing.T) {
	c := newRecipe(t)
	c.profile("mysql", "sequence = [\"28411/tcp\", \"9215/tcp\"]\nopen = [\"3306/tcp\"]\n")
	c.on("sudo knockd install mysql")
	c.start(c.laptop, recipe(t, "sh", "forward"))
	labtest.Eventually(t, 20*time.Second, func() error {
		said := labtest.Run(t, c.laptop, "", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/13306 && head -n 1 <&3").Stdout
		if said != greeting+"\n" {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
}

func TestEachGrantIsSentToTheNotifier(t *testing.T) {
	c := newRecipe(t)
	labtest.Need(t, "jq")
	c.profile("mysql", "sequence = [\"28411/tcp\", \"9215/tcp\"]\nopen = [\"3306/tcp\"]\n")
	c.on("sudo knockd install mysql")
	sent := filepath.Join(c.dir, "sent")
	c.stub("curl", fmt.Sprintf(`echo "$3 $4" >> %s; exit 22`, sent)) // curl's own failure must not end the loop
	c.start(c.server, recipe(t, "sh", "notify"))
	want := fmt.Sprintf("mysql opened for %s https://ntfy.example.com/knocks\n", c.laptop.Addr4)
	for n := 1; n < 3; n++ {
		labtest.Eventually(t, 20*time.Second, func() error { // watch takes a moment to begin
			c.on("sudo knockd revoke mysql --all")
			c.laptops("knock -q mysql")
			text, err := os.ReadFile(sent)
			if strings.Count(string(text), want) < n {
				return fmt.Errorf("sent was %q, %v; want %q", text, err, want)
			}
			return nil
		})
	}
}

// At working hours a holder gets in, at others not. What the page has as 08:00 and 18:00 becomes
// hours around now, or away from it: of UTC for iptables, for nftables of knockd's time zone.
func TestOutsideOfItsHoursAProfileOpensNothing(t *testing.T) {
	t.Parallel()
	text := recipe(t, "toml", "/etc/knockd/profiles/office.toml")
	for _, zone := range []string{"UTC", "Asia/Tokyo", "America/New_York"} {
		for _, backend := range []string{"iptables", "nftables"} {
			t.Run(backend+" in "+zone, func(t *testing.T) {
				now := time.Now().UTC()
				if backend == "nftables" {
					location, err := time.LoadLocation(zone)
					if err != nil {
						t.Fatal(err)
					}
					now = now.In(location)
				}
				around, away := []string{"00:00", "20:00"}, []string{"22:00", "23:00"}
				if now.Hour() >= 12 {
					around, away = []string{"04:00", "23:59"}, []string{"01:00", "02:00"}
				}
				c := newRecipe(t)
				c.settingsOf(backend)
				for _, hours := range [][]string{around, away} {
					c.profile("office", strings.NewReplacer("08:00", hours[0], "18:00", hours[1]).Replace(text))
					c.on("export TZ=" + zone + "; sudo knockd install office")
					c.laptops("knock -q --no-verify office")
					if said := c.on("knockd status"); !strings.Contains(said, "1 open") {
						t.Errorf("the knock grants no lease:\n%s", said)
					}
					if got, want := c.reaches(), hours[0] == around[0]; got != want {
						t.Errorf("at %s, between %s: it opens %v, want %v\n%s", now.Format("15:04"), hours, got, want, c.on("nft list ruleset | grep hour"))
					}
				}
			})
		}
	}
}

// settingsOf takes a backend.
func (c *cook) settingsOf(backend string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "etc/knockd/knockd.toml"), fmt.Appendf(nil, "backend = %q\n", backend), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func TestOneOfTwoPeopleLeaves(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			c := newRecipe(t)
			c.settingsOf(backend)
			c.profile("db-ann", recipe(t, "toml", "/etc/knockd/profiles/db-ann.toml"))
			c.profile("db-ben", recipe(t, "toml", "/etc/knockd/profiles/db-ben.toml"))
			c.on("sudo knockd install")
			for _, name := range []string{"db-ann", "db-ben"} {
				c.laptops("knock -q " + name)
				if said := c.on("knockd status"); !strings.Contains(said, name) || !c.reaches() {
					t.Errorf("%s knocked, and status says\n%s", name, said)
				}
				c.on("sudo knockd revoke " + name + " --all")
			}
			c.laptops("knock -q db-ann")
			c.on(recipe(t, "sh", "leave"))
			if c.reaches() {
				t.Error("Ann still gets in")
			}
			cmd := c.command(Block{Text: "knock -q db-ann\n"})
			if out := labtest.Run(t, c.laptop, "", cmd.Args[0], cmd.Args[1:]...); out.Code != 3 {
				t.Errorf("Ann's sequence: exit %d", out.Code)
			}
			c.laptops("knock -q db-ben")
			if !c.reaches() {
				t.Error("Ben does not get in")
			}
		})
	}
}

func TestAGameAndAVPNOpen(t *testing.T) {
	c := newRecipe(t)
	c.profile("minecraft", recipe(t, "toml", "/etc/knockd/profiles/minecraft.toml"))
	wireguard := read(t, filepath.Join(root, "examples/wireguard.toml"))
	c.profile("wireguard", strings.Replace(wireguard, "host = ", "# host = ", 1))
	labtest.Listen(t, c.server, "tcp", "[::]:25565")
	vpn := labtest.ListenPacket(t, c.server, "udp", "[::]:51820")
	c.on("sudo knockd install minecraft wireguard")
	c.laptops("knock -q minecraft")
	// A datagram before the knock is lost, one after it arrives.
	send := func(text string) {
		conn, err := c.laptop.Dial(t.Context(), "udp", net.JoinHostPort(c.server.Addr4.String(), "51820"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(text)); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	send("early")
	c.laptops("knock -q wireguard")
	send("late")
	buf := make([]byte, 16)
	if err := vpn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := vpn.ReadFrom(buf)
	if err != nil || !bytes.Equal(buf[:n], []byte("late")) {
		t.Errorf("%q came, %v", buf[:n], err)
	}
}

// Each device knocks with its own key, also one of a job that has two; a key that was taken away opens nothing.
func TestDevicesAndJobsHaveKeysOfTheirOwn(t *testing.T) {
	c := &cook{reader: newKeeper(t)}
	c.profile("admin", recipe(t, "toml", "/etc/knockd/profiles/admin.toml"))
	c.onServer("systemctl start knockd")
	c.port22(false)
	c.onServer(recipe(t, "sh", "devices") + recipe(t, "sh", "deploy-key") + recipe(t, "sh", "deploy-next"))
	for _, name := range []string{"alice-laptop", "alice-phone", "deploy", "deploy-2"} {
		c.laptops("knock enroll --name " + name + " - < " + filepath.Join(c.dir, name+".link"))
		if name == "alice-phone" {
			cmd := c.command(Block{Text: "knock -q " + name + "\n"})
			if out := labtest.Run(t, c.laptop, "", cmd.Args[0], cmd.Args[1:]...); out.Code != 3 {
				t.Errorf("the key that was removed: exit %d\n%s", out.Code, out.Stderr)
			}
			continue
		}
		c.laptops("knock " + name)
		user := strings.TrimSuffix(name, "-2")
		if said := c.onServer("knockd status"); !strings.Contains(said, user) {
			t.Errorf("status does not name %s:\n%s", user, said)
		}
		c.onServer("sudo knockd revoke admin --user " + user)
		c.port22(false)
	}
	if said := c.onServer("sudo knockd key list admin"); strings.Count(said, "deploy") != 2 || strings.Contains(said, "phone") {
		t.Errorf("the keys are\n%s", said)
	}
}
