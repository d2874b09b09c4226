package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// TestNodesMeetAtAnEngineThatIsThere: with TLS, and a certificate of an authority of its own.
func TestNodesMeetAtAnEngineThatIsThere(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := natsserver.NewServer(&natsserver.Options{Host: loopback, Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), TLSTimeout: 5,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	go server.Start()
	if !server.ReadyForConnections(soon) {
		t.Fatal("the engine does not start")
	}
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	var all []*site
	for i, name := range []string{"db1", "db2"} {
		c := config(t, []string{name, name}, i)
		c.Listen, c.Nodes, c.NATS, c.CA = "", nil, []string{"tls://" + server.Addr().String()}, ca
		all = append(all, run(t, c))
	}
	all[0].puts(ID{1}, "text")
	all[1].shows(ID{1}, "text")
	c := config(t, []string{"db3"}, 0)
	c.Listen, c.Nodes, c.NATS = "", nil, []string{"tls://" + server.Addr().String()} // whose authority it does not know
	stranger := run(t, c)
	stranger.Put(ID{1}, []byte("other"), time.Time{})
	all[0].puts(ID{2}, "more")
	if h := stranger.Health(); h.Connected {
		t.Errorf("%+v", h)
	}
}
