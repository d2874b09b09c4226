// Package backend holds what the server and its backends say to each other: what
// is wanted in the kernel, what is there, and who holds what. It has no code that
// touches the kernel.
package backend
