// Package node is a node of a fleet: it exchanges small texts with the others by NATS JetStream, sealed with
// the fleet's secret.
//
//	Node.Put ─→ seal ─→ bucket ─→ engine ═══ TLS ═══ engine ─→ bucket ─→ open ─→ Node.Batches
//
// Each node of the list runs an engine, a NATS server in this process, that listens to nobody but us. One
// port of our own is all that is open to others: TLS 1.3 to who has the fleet's secret, before the first
// byte of NATS. Behind it are the routes between the engines, and clients of nodes without one. Or an engine
// is there already, and all nodes are its clients.
//
// Nobody who has not the secret can read what is stored, or store what nodes take for theirs, even with all
// rights on the engine: what he deletes comes back.
//
// It is in a program of its own, knockd-fleet: a NATS server that is linked into a process costs memory, and
// wakes it up each second, whether it is used or not.
package node
