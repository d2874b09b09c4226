package main

import (
	"log/slog"
	"os"

	"knockkit/internal/command"
	"knockkit/server"
	"knockkit/server/fleet"
	"knockkit/server/secret"
	"knockkit/server/service"
)

// fleetMemory is what the service aims to live in where it runs an engine, beside the leases.
const fleetMemory = 96 << 20

// joinFleet returns this host as a node of the fleet in knockd.toml; nil where there is none.
func joinFleet(s server.Settings, log *slog.Logger) (service.Fleet, error) {
	f := s.Fleet
	if f == nil {
		return nil, nil
	}
	secrets, err := secret.ReadAll(f.Secrets)
	if err != nil {
		return nil, err
	}
	c := fleet.Config{Name: f.Name, Nodes: f.Nodes, Store: f.Store, NATS: f.NATS, Credentials: f.Credentials, CA: f.CA, Version: command.Version, Log: log}
	for _, s := range secrets {
		c.Secrets = append(c.Secrets, fleet.Secret(s))
	}
	if f.Listen.IsValid() {
		c.Listen = f.Listen.String()
	}
	if c.Node = c.Listen; c.Node == "" {
		if c.Node, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	return fleet.New(c)
}
