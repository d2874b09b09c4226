package command

// Version is the release that this is, or that comes next: both programs print it,
// and the Makefile reads it here for the packages.
const Version = "0.1.0"
