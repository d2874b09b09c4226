// Package server brings profiles into the kernel and reads back what is there:
// plan, install, status, grant.
//
// It knows no rules: a [Backend] does. Nothing is kept outside the kernel: what is
// installed, and who holds a lease, is read from there every time.
package server
