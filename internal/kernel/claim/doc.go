// Package claim is the right to be the only process for something: the lock of whoever changes
// rules, and the right to be the service of a network namespace.
//
// A [Claim] is an NFLOG group that no rule uses, bound by a netlink socket. The kernel gives a group
// to one socket of a network namespace, refuses it without CAP_NET_ADMIN there, and frees it when
// the last process that has the socket open has ended. A name that any local user can bind (an
// abstract Unix socket, a file in a folder that all may write) is no such right: its user could keep
// root out.
//
// [TakeName] takes the names that older versions of knockd used for this, so that an old and a new
// one do not work beside each other. Nothing depends on having them.
package claim
