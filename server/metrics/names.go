package metrics

// The metrics' names.
const (
	Knocks    = "knockd_knocks_total"      // by profile
	Grants    = "knockd_grants_total"      // by profile
	Resets    = "knockd_resets_total"      // by profile
	Expired   = "knockd_expired_total"     // by profile
	Denied    = "knockd_denied_total"      // by profile
	Bans      = "knockd_bans_total"        //
	Lost      = "knockd_events_lost_total" // events that were too many to read
	Repairs   = "knockd_repairs_total"     // times that the rules were put right
	Leases    = "knockd_leases"            // by profile
	Positions = "knockd_positions"         // by profile
	Banned    = "knockd_banned"
	Profiles  = "knockd_profiles"      // that are installed
	Drift     = "knockd_drift"         // 1 while the rules are not those that were committed
	TableUsed = "knockd_table_entries" // by table
	TableRoom = "knockd_table_limit"   // by table
	ReloadOK  = "knockd_last_reload_success"
	ReloadAt  = "knockd_last_reload_timestamp_seconds"
	LookOK    = "knockd_last_look_success" // 0 when the kernel could not be read for this page
)

// Names lists all of them.
func Names() []string {
	return []string{Knocks, Grants, Resets, Expired, Denied, Bans, Lost, Repairs, Leases, Positions, Banned,
		Profiles, Drift, TableUsed, TableRoom, ReloadOK, ReloadAt, LookOK}
}

// The labels.
const (
	labelProfile = "profile"
	labelTable   = "table"
)
