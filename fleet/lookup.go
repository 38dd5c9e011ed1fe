package fleet

// GenerationOf returns whose an instance is, as long as it is in the ledger's
// live rows.
func (f *Fleet) GenerationOf(instanceID string) (worker string, generation int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[instanceID]
	if r == nil {
		return "", 0, false
	}
	return r.Worker, r.Generation, true
}

// InstanceType returns the type of a generation's instance, "" while it has
// none.
func (m *Member) InstanceType(generation int64) string {
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].InstanceType
	}
	return ""
}

// Alive returns how many instances of the ledger have not ended.
func (f *Fleet) Alive() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}
