-- Every X-ray that Orthanc stores goes to lungcls; its answers, which lungcls sent itself, do not.
function OnStoredInstance(instanceId, tags, metadata, origin)
  local modality = tags['Modality']
  if (modality == 'CR' or modality == 'DX') and origin['RemoteAet'] ~= 'LUNGCLS' then
    SendToModality(instanceId, 'lungcls')
  end
end
