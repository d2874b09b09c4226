// Package backend has the types that the server and its backends share: what is wanted in the
// kernel, what a reading has found there, and what a plan commits. It does not touch the kernel.
package backend
