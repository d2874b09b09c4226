package service

import (
	"time"

	"knockkit/server/fleet"
)

// FleetState is how a service gets along as a node of its fleet.
type FleetState struct {
	Name    string        `json:"name"`
	Node    string        `json:"node"`
	Engine  bool          `json:"engine"`  // it runs one
	Engines []string      `json:"engines"` // the nodes that are to; none where the engine is somebody else's
	Ahead   time.Duration `json:"ahead"`   // the fleet's time, against this machine's clock
	Apart   bool          `json:"apart"`   // that is too much: it takes no part

	Leases, Endings int // that it knows

	fleet.Health
}

// maxPeers is how many nodes an answer names.
const maxPeers = 1000

func (m *member) state() *FleetState {
	c := m.fleet.Config()
	s := &FleetState{Name: c.Name, Node: c.Node, Engine: c.Listen != "", Engines: c.Nodes, Health: m.fleet.Health()}
	s.Ahead, s.Apart = m.fleet.Offset()
	s.Leases, s.Endings = m.ledger.Len(m.now())
	s.Peers = s.Peers[:min(len(s.Peers), maxPeers)]
	return s
}
