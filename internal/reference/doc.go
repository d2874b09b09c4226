// Package reference writes down the commands of a program from the definitions that
// the program itself runs by: for docs/commands.md as Markdown, for the packages as a
// manual page. The flow is cli.App → [Read] → Program → Markdown or roff, and nothing
// but [Command], which the programs carry hidden, prints.
//
// urfave/cli has such writers too. They leave out what a command's description says,
// and with it every example, and the names of flags' values.
package reference
