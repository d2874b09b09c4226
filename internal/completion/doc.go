// Package completion completes the command lines of both programs in bash, zsh and
// fish. A small script for the shell asks the program itself what can follow
// ("knock __complete -- WORD..."), so it knows the profiles, and never an old
// version's flags. Words and flags come from the app's definitions; what an argument
// can be, the program says.
package completion
