package node

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"knockkit/server/fleet"
)

// Limits of an engine.
const (
	maxMemory     = 64 << 20 // bytes of what streams keep in memory: ours are on disk
	maxDisk       = 1 << 40  // bytes that buckets may reserve, not bytes that they take: those of former secrets stay
	engineStart   = 20 * time.Second
	loopback      = "127.0.0.1"
	aloneFolder   = "alone" // an engine without others keeps its files in another way
	clusterFolder = "engine"
)

// engine is a NATS server in this process. It listens on the loopback interface only, to who has the
// password: for the routes from other engines, which come in by the door.
type engine struct {
	server *natsserver.Server
	routes string // its address for routes; "": it is alone
}

// startEngine starts this node's engine. peers are the addresses of the tunnels to the others.
func startEngine(c *fleet.Config, all []*seals, peers []string) (*engine, error) {
	user, password := all[0].account()
	o := &natsserver.Options{
		ServerName: c.Listen, Host: loopback, Port: natsserver.RANDOM_PORT, CustomClientAuthentication: accounts(all), CustomRouterAuthentication: accounts(all),
		NoSigs: true, JetStream: true, JetStreamMaxMemory: maxMemory, JetStreamMaxStore: maxDisk,
		StoreDir: filepath.Join(c.Store, aloneFolder), DisableShortFirstPing: true, PingInterval: 2 * time.Second, MaxPingsOut: 2,
		WriteDeadline: 5 * time.Second, LameDuckDuration: 20 * time.Millisecond, LameDuckGracePeriod: 10 * time.Millisecond,
	}
	if len(peers) > 0 {
		o.StoreDir = filepath.Join(c.Store, clusterFolder)
		o.Cluster = natsserver.ClusterOpts{Name: c.Name, Host: loopback, Port: natsserver.RANDOM_PORT,
			NoAdvertise: true, PoolSize: -1, PingInterval: 2 * time.Second, MaxPingsOut: 2}
		for _, p := range peers {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: p, User: url.UserPassword(user, password)})
		}
	}
	server, err := natsserver.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("the engine: %w", err)
	}
	server.SetLoggerV2(engineLog{c.Log}, false, false, false)
	e := &engine{server: server}
	go server.Start()
	if !server.ReadyForConnections(engineStart) {
		e.stop()
		return nil, errors.New("the engine does not start: see the log with --verbose")
	}
	if len(peers) > 0 {
		e.routes = server.ClusterAddr().String()
	}
	return e, nil
}

// account is the user and the password of who has the secret, at an engine.
func (s *seals) account() (user, password string) { return s.word("user"), s.word("password") }

// accounts lets in who has one of the secrets: other users of this machine can reach the engine too.
type accounts []*seals

// Check implements [natsserver.Authentication].
func (all accounts) Check(c natsserver.ClientAuthentication) bool {
	is := c.GetOpts()
	return slices.ContainsFunc(all, func(s *seals) bool {
		user, password := s.account()
		return subtle.ConstantTimeCompare([]byte(is.Username+" "+is.Password), []byte(user+" "+password)) == 1
	})
}

// stop ends the engine. What it leads it hands over to another: else the store would not answer for seconds.
func (e *engine) stop() {
	e.server.LameDuckShutdown()
	e.server.WaitForShutdown()
}

func (e *engine) client(context.Context) (net.Conn, error) { return e.server.InProcessConn() }

func (e *engine) route(ctx context.Context) (net.Conn, error) {
	if e.routes == "" {
		return nil, errors.New("an engine that is alone")
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", e.routes)
}

// engineLog passes on what the engine says. Most of it is about connections, which State says better.
type engineLog struct{ log *slog.Logger }

func (l engineLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l engineLog) Warnf(format string, v ...any)   { l.say(slog.LevelDebug, format, v) }
func (l engineLog) Errorf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l engineLog) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (engineLog) Debugf(string, ...any)             {}
func (engineLog) Tracef(string, ...any)             {}

func (l engineLog) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "fleet: engine", "says", strings.TrimSpace(fmt.Sprintf(format, v...)))
}
