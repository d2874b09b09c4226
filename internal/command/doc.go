// Package command runs the command line of both programs: it arranges the
// arguments for urfave/cli, and turns errors into words and exit codes.
//
// urfave/cli v2 stops looking for flags at the first argument and drops the
// ones after it without a word, writes usage errors to standard output, and
// knows no flags that belong to the whole program. Run mends that from the
// app's own definitions, so commands are declared as urfave documents them.
package command
