-- Every release that has ended has its numbers; that events were removed is said by itself: before which instant they ended.
ALTER TABLE release ADD COLUMN thinned_before TEXT;

UPDATE release SET thinned_before = ended_at WHERE course IS NOT NULL;
