// Package docs makes the pages of commands from the definitions that the programs themselves
// run by: docs/commands.md as Markdown, for the packages as manual pages. The flow is
// cli.App → [read] → Program → Markdown or roff, and nothing but [Command], which the programs
// carry hidden, prints.
//
// urfave/cli has such writers too. They leave out what a command's description says,
// and with it every example, and the names of flags' values.
//
// Its tests keep the other pages true: they run the commands of the README and of docs/, beside
// the firewalls of others too, and compare what the pages show with what is made from the examples.
package docs
