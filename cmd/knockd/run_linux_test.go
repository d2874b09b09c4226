package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/internal/metrics"
)

// manyProfiles is how many profiles the figures below are for.
const manyProfiles = 100

// TestWithAHundredProfilesTheServiceIsSmallAndIdle measures what it costs to let it
// run: 30 MiB at most, and no work when nothing happens.
func TestWithAHundredProfilesTheServiceIsSmallAndIdle(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		for i := range manyProfiles - 1 {
			s.profile(fmt.Sprintf("p%d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 21000+i, 22000+i, 23000+i, 24000+i))
		}
		service := s.run()
		pid := service.cmd.Process.Pid
		s.flush() // a repair is the most that it ever does
		service.logs("the rules had been changed")
		labtest.Eventually(t, soon, func() error { // it is still at work
			const window = 5 * time.Second // longer than it waits for others to finish, and than it takes to see what it has changed itself
			before := cpuTime(t, pid)
			time.Sleep(window)
			if worked := cpuTime(t, pid) - before; worked > window/50 {
				return fmt.Errorf("it works still: %s in %s", worked, window)
			}
			return nil
		})
		const idle = 6 * time.Second
		before := cpuTime(t, pid)
		time.Sleep(idle)
		worked := cpuTime(t, pid) - before
		resident := residentKB(t, pid)
		t.Logf("%d KiB resident, worked %s in %s", resident, worked, idle)
		if resident > 30<<10 {
			t.Errorf("%d KiB are resident: more than 30 MiB", resident)
		}
		most := idle / 100
		if strings.HasSuffix(t.Name(), "iptables-legacy") { // whose tables it compares now and then
			most *= 4
		}
		if worked > most {
			t.Errorf("it worked %s in %s in which nothing happened", worked, idle)
		}
	})
}

// TestTheMetricsAreWhatPrometheusReads uses its own parser.
func TestTheMetricsAreWhatPrometheusReads(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.settings(fmt.Sprintf("backend = %q\nmetrics = \"127.0.0.1:9478\"\n", s.backend))
		service := s.run()
		service.logs("http://127.0.0.1:9478/metrics")
		s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8000/tcp")
		s.knock(lab.ForgedAddr4(2), "icmp", "8000/tcp")
		s.knock(lab.ForgedAddr4(3), "3306/tcp")
		s.knock(lab.ForgedAddr6(4), "icmp")
		s.must("grant", "mysql", "10.9.0.7")
		s.must("revoke", "mysql", "10.9.0.7")
		var page map[string]*dto.MetricFamily
		want := map[string]float64{metrics.Grants: 2, metrics.Revokes: 1, "knockd_expired_total": 0, metrics.Knocks: 5, metrics.Resets: 1, metrics.Denied: 1, metrics.Leases: 1,
			metrics.Positions: 1, metrics.Profiles: 1, metrics.Drift: 0, metrics.ReloadOK: 1, metrics.ReadOK: 1, metrics.Banned: 0, metrics.Repairs: 0}
		labtest.Eventually(t, soon, func() error {
			page = s.page()
			for name, value := range want {
				if got := sum(page[name]); got != value {
					return fmt.Errorf("%s is %v, not %v", name, got, value)
				}
			}
			return nil
		})
		for _, name := range metrics.Names() {
			signed := name == metrics.Keys || name == metrics.SignedGrants // no profile is
			if page[name] == nil && !signed {
				t.Errorf("%s is not on the page", name)
			}
		}
		for name := range page {
			if strings.HasPrefix(name, "knockd_") && !contains(metrics.Names(), name) {
				t.Errorf("%s is on the page, and no name of ours", name)
			}
		}
		s.flush()
		service.logs("the rules had been changed")
		labtest.Eventually(t, soon, func() error {
			if got := sum(s.page()[metrics.Repairs]); got != 1 {
				return fmt.Errorf("%v repairs", got)
			}
			return nil
		})
	})
}

func contains(all []string, name string) bool {
	for _, n := range all {
		if n == name {
			return true
		}
	}
	return false
}

// page reads the metrics from inside the host.
func (s *served) page() map[string]*dto.MetricFamily {
	s.t.Helper()
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.host.Dial(ctx, network, address)
		}}}
	resp, err := client.Get("http://127.0.0.1:9478/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	page, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// sum adds up a metric over its labels.
func sum(f *dto.MetricFamily) float64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return total
}

// TestSystemdIsTold lets the test be systemd: a datagram socket in the file system.
func TestSystemdIsTold(t *testing.T) {
	s := newServedOn(t, "nftables")
	said := s.notifications()
	t.Setenv("WATCHDOG_USEC", "400000")
	service := s.run()
	eventuallyHas(t, said, "READY=1\nSTATUS=1 profile installed, 0 leases remembered\n", soon)
	eventuallyHas(t, said, "WATCHDOG=1\n", soon)
	s.profile("mysql", strings.Replace(articleProfile, "8000", "8001", 1))
	if err := service.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventuallyHas(t, said, "RELOADING=1\nMONOTONIC_USEC=", soon)
	service.logs("msg=reloaded")
	if s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8001/tcp"); !s.answers(lab.ForgedAddr4(1)) {
		t.Error("the new sequence does not open")
	}
	eventuallyHas(t, said, "STATUS=1 profile installed, 1 lease remembered\n", soon)
	service.stop()
	eventuallyHas(t, said, "STOPPING=1\n", soon)
}

// notifications makes the test systemd for programs that start from now on, and
// returns what they tell.
func (s *served) notifications() *safeBuffer {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { socket.Close() })
	said := &safeBuffer{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return // closed
			}
			_, _ = io.WriteString(said, string(buf[:n])+"\n")
		}
	}()
	s.t.Setenv("NOTIFY_SOCKET", path)
	return said
}

// newServedOn is newServed for tests that one backend is enough for.
func newServedOn(t *testing.T, backend string) *served {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	return newServed(t, backend)
}

func TestAtTheStartABrokenFileKeepsNoOtherGateOpen(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile("web", "open = 1\n")
		service := s.run()
		service.logs("a file cannot be used")
		if s.answers(lab.ForgedAddr4(1)) {
			t.Error("the gate of the other file is open")
		}
		// And where the broken one was installed, it stays.
		s.profile("web", web)
		service.logs("profiles=\"[mysql web]\"")
		service.stop()
		s.profile("web", "open = 1\n")
		s.run().logs("what is installed of it stays")
		if out := s.must("status").Stdout; !strings.Contains(out, "web") {
			t.Errorf("web is gone:\n%s", out)
		}
	})
}

func TestASettingThatNeedsARestartSaysSo(t *testing.T) {
	s := newServedOn(t, "nftables")
	service := s.run()
	s.settings("backend = \"nftables\"\nmetrics = \"127.0.0.1:9478\"\n")
	service.logs("change with a restart only")
	s.settings("backend = \"nftables\"\nstrict = fals\n")
	service.logs("not reloaded: nothing has changed")
	s.settings("backend = \"nftables\"\nstrict = false\n")
	s.eventually("strict is off", soon, func() bool {
		s.knock(lab.ForgedAddr4(1), "icmp", "9/tcp", "7/tcp", "8000/tcp")
		return s.answers(lab.ForgedAddr4(1))
	})
}

func TestTheServiceRunsWithoutAnyProfile(t *testing.T) {
	s := newServedOn(t, "nftables")
	if err := os.RemoveAll(filepath.Join(s.config, "profiles")); err != nil {
		t.Fatal(err)
	}
	service := s.run()
	service.logs("no profile is enabled: nothing is gated")
	s.profile("mysql", articleProfile)
	service.logs("profiles=[mysql]")
	if s.answers(lab.ForgedAddr4(1)) {
		t.Error("the gate is open")
	}
}

// TestTheServiceDoesNotUndoAnInstallOfAFileThatItHasNotReadYet: it waits until files are
// quiet, and sees the rules of the command before.
func TestTheServiceDoesNotUndoAnInstallOfAFileThatItHasNotReadYet(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		service := s.run()
		s.profile("web", "sequence = [\"7001/tcp\"]\nopen = [\"80/tcp\"]\n")
		s.must("install", "web")
		s.must("grant", "web", "10.9.0.1")
		service.logs("msg=reloaded")
		if out := s.must("status").Stdout; !strings.Contains(narrow(out), "10.9.0.1 web open") {
			t.Errorf("the lease is gone:\n%s", out)
		}
		if log := service.log.String(); strings.Contains(log, "the rules had been changed") {
			t.Errorf("the install was undone:\n%s", log)
		}
	})
}
