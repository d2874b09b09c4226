// Package ledger decides who has a lease in a fleet. Each node keeps one [Ledger]: the statements of all
// nodes, "this holder has a lease until then" and "leases of these are over". The later statement wins, so
// all ledgers that have the same statements say the same, in whatever order they came.
//
//	report or act ─→ Say ─→ Ledger ─→ Unstored ─→ the store ─→ Merge of every other node's Ledger
//	                          │
//	reading of the kernel ─→ Converge ─→ what to give and to end here, and what to say
//
// It is pure: it knows neither the store (package fleet) nor the kernel. Times are the fleet's: a clock that
// all nodes agree on as well as they can.
package ledger
