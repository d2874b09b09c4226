// Package fleet is what a service knows of its fleet: small texts that all nodes have, whatever becomes of
// one of them. What they mean is another package's matter: ledger. The exchange itself is package node, in a
// program of its own, which a [Process] runs and talks to.
package fleet
