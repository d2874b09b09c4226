package command

// Version is the release that this is, or that comes next: both programs print it,
// and packages carry it. It is a variable for `make package VERSION=...`, which links
// another one in.
var Version = "0.1.0"
