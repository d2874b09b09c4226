package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// What a connection is for, as ALPN says it.
const (
	forRoute  = "knockd-route/1"
	forClient = "knockd-client/1"
)

// always is when certificates are checked: identity is the key, not a date.
func always() time.Time { return time.Unix(1_900_000_000, 0) }

// identity is who a node is for others that have the same secret.
type identity struct {
	server, client *tls.Config
	name           string // by which a client asks for it
}

// newIdentity makes a certificate with a key of its own, signed by the authority that is derived from the
// secret.
func newIdentity(s *seals) (*identity, error) {
	authority := ed25519.NewKeyFromSeed(s.derive("authority", ed25519.SeedSize))
	id := &identity{name: s.word("certificate") + ".knockd"}
	whole := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "knockd"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &whole, &whole, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, DNSNames: []string{id.name},
		NotBefore: whole.NotBefore, NotAfter: whole.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, &leaf, root, public, authority); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	certificates := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
	id.server = &tls.Config{Certificates: certificates, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{forRoute, forClient}, Time: always, SessionTicketsDisabled: true}
	id.client = &tls.Config{Certificates: certificates, RootCAs: pool, ServerName: id.name, MinVersion: tls.VersionTLS13, Time: always}
	return id, nil
}

// to is the configuration of a connection for a purpose.
func (id *identity) to(purpose string) *tls.Config {
	c := id.client.Clone()
	c.NextProtos = []string{purpose}
	return c
}

var errStranger = errors.New("a stranger: no node of the fleet")

// serverConfig answers with the identity that the client asks for.
func serverConfig(all []*identity) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, id := range all {
			if hello.ServerName == id.name {
				return id.server, nil
			}
		}
		return nil, fmt.Errorf("%w: it asks for %q", errStranger, hello.ServerName)
	}}
}
