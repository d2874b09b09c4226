// Package secret makes and reads the files of a fleet's secret: 32 random bytes in base64url, a line, mode 0600.
// Everything that the nodes of a fleet trust each other by is derived from it, by others.
package secret
