package repository

import "time"

// Keep says for how long, and how much, the repository keeps. It can change while the repository is open.
type Keep struct {
	Messages     Retention
	Transcripts  Retention
	Pseudonymise time.Duration // age from which addresses are replaced by pseudonyms; zero: never
}

func (o *Options) keep() Keep { return Keep{o.Messages, o.Transcripts, o.Pseudonymise} }

// SetKeep takes over other bounds; they are applied as the first ones were, within Options.RetainEvery. An error is of the
// file with the key for pseudonyms: the bounds stay as they were. What has pseudonyms keeps them.
func (r *Repository) SetKeep(keep Keep) error {
	if keep.Pseudonymise > 0 && r.pseudonyms.Load() == nil {
		p, err := loadPseudonyms(r.opts.Dir)
		if err != nil {
			return err
		}
		r.pseudonyms.Store(p)
	}
	r.keep.Store(&keep)
	return nil
}
