// Package follow knows leases between two readings of the kernel: from reports of grants, from the
// readings, and from the time that has passed. Package events tells with it when leases end, the
// service which leases a flush by another tool has made the kernel forget.
//
// It is pure. Times are on a clock that nobody sets, since some fixed point.
package follow
