package doctor_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/doctor"
)

const signedText = "signed = { carrier = \"40123/udp\" }\nopen = [\"3306/tcp\"]\n"

func TestASignedProfileNeedsTheServiceAndAKey(t *testing.T) {
	labtest.Need(t, "nft")
	p := admit(t, "nftables")
	p.folder, p.settings.Audience = t.TempDir(), "db1"
	p.install(profile(t, "admin", signedText))
	p.finds(doctor.IDService, doctor.Broken, "the service is not running, and profile admin is signed")
	p.finds(doctor.IDKeys, doctor.Broken, "profile admin is signed, and it has no key that can be used")

	dir := filepath.Join(p.folder, "keys", "admin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, k protocol.Key, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, format.KeyFileText(&format.KeyFile{Key: k}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		p.found = nil
	}
	alice := protocol.Key{Profile: "admin", User: "alice", Audience: "db1", Secret: [protocol.KeySize]byte{1}}
	write("alice.key", alice, 0o600)
	write("alice.0011aabb.key", alice, 0o600)
	p.finds(doctor.IDKeys, doctor.OK, "keys of profile admin that can be used: 2")
	p.findsNo(doctor.IDKeys)
	write("alice.key", alice, 0o666)
	p.finds(doctor.IDKeys, doctor.Broken, "alice.key cannot be used")
	p.does("chmod")
	write("alice.key", alice, 0o640)
	p.finds(doctor.IDKeys, doctor.Broken, "alice.key cannot be used", "can be read by others than its owner (mode 0640)")
	p.does("chmod 0600 " + filepath.Join(dir, "alice.key"))
	write("alice.key", alice, 0o600)
	write("bob.key", alice, 0o600)
	p.finds(doctor.IDKeys, doctor.Broken, "bob.key cannot be used: it is the key of alice for profile admin")

	var service *claim.Claim
	if err := p.host.Do(func() (err error) { service, err = claim.Take(claim.Service); return err }); err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	p.found = nil
	p.finds(doctor.IDService, doctor.Broken, "nobody can open signed profiles: the kernel has no tokens that are valid now")
	now := time.Now()
	refresh := func(r server.KeyRefresh) {
		t.Helper()
		if r.Keys, p.found = []protocol.Key{alice}, nil; r.Now.IsZero() {
			r.Now = now
		}
		if err := p.host.Do(func() error {
			b, _, err := server.OpenBackend(t.Context(), "nftables")
			if err == nil {
				_, err = server.New(b, p.settings).RefreshKeys(t.Context(), r)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	refresh(server.KeyRefresh{Now: now.Add(-time.Hour)})
	refresh(server.KeyRefresh{})
	p.finds(doctor.IDService, doctor.OK, "the service is running")
	refresh(server.KeyRefresh{Clear: true})
	p.finds(doctor.IDService, doctor.Note, "signed profiles are shut until", string(server.ShutUnknown))
	tomorrow := now.Add(24 * time.Hour)
	refresh(server.KeyRefresh{Clear: true, Highest: protocol.Slot(tomorrow)})
	p.finds(doctor.IDService, doctor.Broken, "signed profiles are shut until "+tomorrow.UTC().Format(time.DateOnly), string(server.ShutClock))
}

func TestATokenThatOthersDropIsFound(t *testing.T) {
	labtest.Need(t, "nft")
	p := admit(t, "nftables")
	p.install(profile(t, "admin", signedText))
	p.findsNo(doctor.IDUnheard)
	p.nft("table inet other { chain early { type filter hook input priority -200; udp dport 40123 drop; }; }")
	p.finds(doctor.IDUnheard, doctor.Broken, "profile admin does not hear 40123/udp")
}

func TestAProfileThatIsNotSignedNeedsNeither(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		for _, f := range p.examine() {
			if f.ID == doctor.IDService || f.ID == doctor.IDKeys {
				t.Errorf("found %+v", f)
			}
		}
	})
}
