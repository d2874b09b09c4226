// Package follow knows who holds a lease between two looks at the kernel: from reports of
// grants, from what looks have shown, and from the time that has passed. The feed tells with
// it when leases end, the service what a flush by another tool has made the kernel forget.
//
// It is pure. Times are on a clock that nobody sets, since some fixed point.
package follow
