package main

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"knockkit/internal/command"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/fleet"
	"knockkit/server/secret"
	"knockkit/server/service"
)

// joinFleet returns this host as a node of the fleet in knockd.toml; nil where there is none.
func joinFleet(s server.Settings, log *slog.Logger, verbose bool) (service.Fleet, error) {
	f := s.Fleet
	if f == nil {
		return nil, nil
	}
	secrets, err := secret.ReadAll(f.Secrets)
	if err != nil {
		return nil, err
	}
	c := fleet.Config{Name: f.Name, Nodes: f.Nodes, Store: f.Store, NATS: f.NATS, Credentials: f.Credentials, CA: f.CA, Version: command.Version, Verbose: verbose, Log: log}
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
	return fleet.Start(c)
}

// acted tells what the command has done: who watches, and the other nodes of a fleet, as soon as a service
// runs.
func (h *host) acted(ctx context.Context, acts []events.Act) {
	events.Tell(ctx, acts)
	acts = slices.DeleteFunc(slices.Clone(acts), func(a events.Act) bool { return a.Kind != events.Grant && a.Kind != events.Scope })
	if _, running := service.Running(); running || h.settings.Fleet == nil || len(acts) == 0 {
		return
	}
	if err := service.Spool(h.settings.Fleet.Store, time.Now(), acts); err != nil {
		h.words.Warning("the other nodes of the fleet will not hear of it: %v", err)
		return
	}
	h.words.Note("no service runs here: the other nodes of the fleet are told when knockd run starts")
}
