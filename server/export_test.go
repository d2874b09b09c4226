package server

// EndConnections is for tests of what a command asks for with a whole family.
var EndConnections = endConnections
